// The same checkpoint with other small files: what a migration does. Tensors are not copied, they get a second name; the new
// directory takes the old one's place in one rename, so that a kill leaves one of them.

internal import Bytes
internal import SystemPackage

extension Checkpoint {
    /// Puts a checkpoint in the place of `checkpoint` that differs from it in one file, with a new manifest.
    ///
    /// Everything is verified first: damage must not get new digests. Of a run the caller holds the lock.
    /// - Throws: `Fault`: bad data that names what is damaged, or it cannot be written; the old one is still there then.
    public static func rewrite(_ checkpoint: Checkpoint, replacing name: String, with bytes: [UInt8]) throws {
        guard let manifest = checkpoint.manifest else {
            throw Fault.badData(checkpoint.path.string, "a foreign checkpoint has no manifest to be written anew")
        }
        if let finding = verify(checkpoint.path).first { throw Fault(.badData, finding.message) }
        try RunDirectory.replace(
            checkpoint.path,
            build: { writer in
                for file in manifest.files {
                    if file.name == name {
                        try writer.write(bytes, to: name)
                    } else {
                        try writer.adopt(file, from: checkpoint.path)
                    }
                }
            })
    }
}
