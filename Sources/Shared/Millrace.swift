// The umbrella for embedders: `import Millrace` brings every library module, and swift-system, whose `FilePath` they speak.

@_exported public import Batches
@_exported public import Bytes
@_exported public import Checkpoints
@_exported public import Kernels
@_exported public import Metrics
@_exported public import Models
@_exported public import Optimizers
@_exported public import SystemPackage
@_exported public import Tokens
@_exported public import Training
