// What a test needs of the system that Bytes has no call for.

import Foundation

/// As every tool does from its start.
func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

/// As every tool does from its start.
func ignoreFileSizeLimits() { signal(SIGXFSZ, SIG_IGN) }
