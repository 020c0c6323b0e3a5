// Closes what an isa_*.h opened.
#ifdef MR_ISA_PUSHED
#pragma clang attribute pop
#undef MR_ISA_PUSHED
#endif
