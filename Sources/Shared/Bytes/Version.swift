/// Of the tools and of the library.
public let millraceVersion = "0.1.0"
