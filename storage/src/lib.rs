//! The log: segments, records, recovery.
