import Bytes
import Testing

@Suite struct HostTests {
    /// Linux brings its own peak up to date less often than the size.
    @Test func thePeakIsNeverBelowWhatWasHeld() {
        var (held, largest): ([[UInt8]], Int) = ([], 0)
        for count in 0..<2000 {
            held.append([UInt8](repeating: UInt8(count & 0xff), count: 20_000))
            let resident = Host.residentBytes
            let peak = Host.peakResidentBytes
            #expect(peak >= resident && peak >= largest)
            largest = max(largest, peak)
        }
        #expect(held.count == 2000)
    }
}
