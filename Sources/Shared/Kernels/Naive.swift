// The slow twins. Each kernel has one here: plain loops that are its specification, to the bit, and the oracle of its
// tests. Nothing at run time calls them.

/// Scalar twins of the kernels, on arrays.
public enum Naive {}
