//! Byte-level fuzzing.
