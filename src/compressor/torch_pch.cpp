// Carries the precompiled LibTorch header that the compressor folders share.
