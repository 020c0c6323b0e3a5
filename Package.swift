// swift-tools-version: 6.2
// Targets stand in dependency order: imports only ever point up this list (see docs/architecture.md).
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]
/// CI sets MILLRACE_WERROR=1; a newer compiler's new warning must not break a user's build.
let swiftSettings: [SwiftSetting] =
    Context.environment["MILLRACE_WERROR"] == nil ? strict : strict + [.treatAllWarnings(as: .error)]

let library = [
    "Bytes", "Tokens", "Batches", "Kernels", "Models", "Optimizers", "Checkpoints", "Metrics", "Training",
]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/Shared/\(name)", swiftSettings: swiftSettings)
}

func tool(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name,
        dependencies: dependencies + ["CommandLine", "Bytes", argumentParser, system],
        swiftSettings: swiftSettings)
}

/// A program of an embedder: it imports the umbrella and nothing of the inside. The modules are named because a build follows
/// no re-export and would keep old layouts.
func example(_ name: String) -> Target {
    .executableTarget(
        name: name, dependencies: ["Millrace", argumentParser] + library.map { .target(name: $0) },
        path: "Examples/\(name)", swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["TestSupport", system], swiftSettings: swiftSettings)
}

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "millrace",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "Millrace", targets: ["Millrace"]),
        .executable(name: "tok-shard", targets: ["tok-shard"]),
        .executable(name: "tok-pack", targets: ["tok-pack"]),
        .executable(name: "train-step", targets: ["train-step"]),
        .executable(name: "ckpt-tool", targets: ["ckpt-tool"]),
        .executable(name: "metrics-cat", targets: ["metrics-cat"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    ],
    targets: [
        .systemLibrary(
            name: "CZstd", path: "Sources/Shared/CZstd", pkgConfig: "libzstd",
            providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
        // Without pkg-config, whose -L of the system's libraries would come before that of a static build.
        .systemLibrary(name: "CZlib", path: "Sources/Shared/CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CKernels", path: "Sources/Shared/CKernels", exclude: ["unicode_tables.py"]),

        module("Bytes", ["CZstd", "CZlib", "CKernels", system, crypto]),
        module("Tokens", ["Bytes", system]),
        module("Batches", ["Tokens", "Bytes", deque]),
        module("Kernels", ["CKernels", "Bytes"]),
        module("Models", ["Kernels", "Bytes"]),
        module("Optimizers", ["Kernels", "Bytes"]),
        module("Checkpoints", ["Bytes", system]),
        module("Metrics", ["Bytes", system]),
        module(
            "Training",
            [
                "Batches", "Tokens", "Models", "Kernels", "Optimizers", "Checkpoints", "Metrics", "Bytes", system,
            ]),
        module("CommandLine", ["Bytes", argumentParser, system]),
        .target(
            name: "Millrace", dependencies: library.map { .target(name: $0) } + [system], path: "Sources/Shared",
            exclude: library + ["CZstd", "CZlib", "CKernels", "CommandLine"], sources: ["Millrace.swift"],
            swiftSettings: swiftSettings),

        tool("tok-shard", ["Tokens"]),
        tool("tok-pack", ["Batches", "Tokens"]),
        tool("train-step", ["Training", "Batches", "Models", "Kernels", "Optimizers", "Checkpoints", "Metrics"]),
        tool("ckpt-tool", ["Training", "Batches", "Tokens", "Models", "Kernels", "Checkpoints"]),
        tool("metrics-cat", ["Metrics"]),

        example("ngram"),
        example("copy-task"),

        .target(
            name: "TestSupport", dependencies: ["Bytes", system], path: "Tests/TestSupport",
            swiftSettings: swiftSettings),
        // Parsers as functions of bytes, for libFuzzer (Tests/fuzz) and for the tests.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Training", "Batches", "Tokens", "Models", "Checkpoints", "Metrics", "Bytes", system,
            ], path: "Tests/FuzzTargets", swiftSettings: swiftSettings),
        tests("FuzzTests", ["FuzzTargets", "Bytes"]),
        tests("BytesTests", ["Bytes", "CZstd"]),
        tests("TokensTests", ["Tokens", "Bytes"]),
        tests("BatchesTests", ["Batches", "Tokens", "Bytes"]),
        tests("KernelsTests", ["Kernels", "CKernels", "Bytes"]),
        tests("ModelsTests", ["Models", "Kernels", "Bytes"]),
        tests("OptimizersTests", ["Optimizers", "Kernels", "Bytes"]),
        tests("CheckpointsTests", ["Checkpoints", "Bytes"]),
        tests("MetricsTests", ["Metrics", "Bytes"]),
        tests(
            "TrainingTests",
            ["Training", "Batches", "Tokens", "Models", "Kernels", "Optimizers", "Checkpoints", "Metrics", "Bytes"]),
        // It imports Millrace alone; the others are named because a build follows no re-export and would keep old layouts.
        tests(
            "MillraceTests",
            [
                "Millrace", "Training", "Batches", "Tokens", "Models", "Kernels", "Optimizers", "Checkpoints",
                "Metrics", "Bytes",
            ]),
        tests("ToolTests", ["CommandLine", "Checkpoints", "Training", "Bytes"]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .c11
)

// What `make fuzz` links libFuzzer to: nobody else needs it as a library.
if Context.environment["MILLRACE_FUZZ"] != nil {
    package.products.append(.library(name: "FuzzTargets", type: .static, targets: ["FuzzTargets"]))
}
