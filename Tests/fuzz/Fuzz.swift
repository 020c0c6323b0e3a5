// What libFuzzer calls. One program for all parsers; MILLRACE_FUZZ names the one, MILLRACE_FUZZ_DIRECTORY where it may put
// files. No part of the package: run.sh builds the targets with coverage and the address sanitizer, and this against them.

import FuzzTargets
import Glibc
import SystemPackage

private let target: FuzzTarget = {
    let name = getenv("MILLRACE_FUZZ").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("MILLRACE_FUZZ is '\(name)', expected one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

private let directory = FilePath(getenv("MILLRACE_FUZZ_DIRECTORY").map { String(cString: $0) } ?? "/tmp")

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do {
        _ = try target.takes(Array(UnsafeBufferPointer(start: data, count: count)), in: directory)
    } catch {
        fatalError("a finding: \(error)")
    }
    return 0
}
