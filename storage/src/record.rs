//! One record: its 64-byte header, its checksum, and how both are read from bytes that may lie.
//!
//! The checksum covers everything after itself, padding included, and is seeded with the segment's salt and the record's
//! offset: a record of an earlier file, or of another place in this one, never verifies here. A length is bounded before
//! it is believed. This file knows nothing of files or of the order of records.

use crate::{Key, Kind, Lsn};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 64;
/// Records start at multiples of this.
pub const ALIGN: usize = 8;
/// Bytes of `meta` at the most. It is for small typed facts beside the payload; 16 bits hold its length.
pub const META_BYTES_MAX: usize = 4096;
/// The flag of the record that ends its key (a session was deleted). Such a record is kept for ever, its key's others are
/// dead once it is durable.
pub const ENDS_KEY: u8 = 0x80;
/// The flag of a note that something later makes worthless (a piece of an answer, once the answer is a message): it may
/// be dropped when it lies below [`crate::Log::set_transient_floor`]. It has no seq, and it ends no key. The six bits
/// beside these two are the writer's.
pub const TRANSIENT: u8 = 0x40;

/// A record as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it stands.
    pub lsn: Lsn,
    /// What it is.
    pub kind: Kind,
    /// [`ENDS_KEY`], [`TRANSIENT`] and six bits of the writer.
    pub flags: u8,
    /// Its stream.
    pub key: Key,
    /// Position in its stream, from 1; 0 for a note.
    pub seq: u64,
    /// The key's previous message (for a note: its last message), or [`Lsn::NONE`].
    pub prev: Lsn,
    /// Microseconds since 1970, by the writer's clock.
    pub time_us: u64,
    /// Everything below this address was on disk when the record was appended.
    pub durable: Lsn,
    /// The writer's small facts, at most [`META_BYTES_MAX`].
    pub meta: &'a [u8],
    /// The writer's bytes.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// Whether this is a numbered message of a stream.
    pub fn is_message(&self) -> bool {
        self.kind.is_stream() && self.seq > 0
    }

    /// Whether it may be dropped below the log's transient floor. Nothing that a reader needs is ever taken for it,
    /// whatever its flags say.
    pub fn is_transient(&self) -> bool {
        self.kind.is_stream() && self.seq == 0 && self.flags & (TRANSIENT | ENDS_KEY) == TRANSIENT
    }

    /// Bytes that it takes in its segment, padding included.
    pub fn stored_bytes(&self) -> u32 {
        padded(HEADER_BYTES + self.payload.len() + self.meta.len()) as u32
    }
}

/// A record to append. The log adds the address, the back pointer and the durable mark.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// What it is; 1 to 127.
    pub kind: Kind,
    /// [`ENDS_KEY`], [`TRANSIENT`] and six bits of the writer.
    pub flags: u8,
    /// Its stream.
    pub key: Key,
    /// 0 for a note; for a message the key's last seq plus 1.
    pub seq: u64,
    /// Microseconds since 1970.
    pub time_us: u64,
    /// At most [`META_BYTES_MAX`] bytes.
    pub meta: &'a [u8],
    /// Parts that are joined into one payload.
    pub payload: &'a [&'a [u8]],
}

impl NewRecord<'_> {
    /// Bytes before padding.
    pub(crate) fn bytes(&self) -> usize {
        HEADER_BYTES + self.meta.len() + self.payload.iter().map(|part| part.len()).sum::<usize>()
    }
}

/// `bytes` rounded up to the alignment of records.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// The fixed part of a record. `len` counts header, payload and meta, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) crc: u32,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) meta_len: u16,
    pub(crate) time_us: u64,
    pub(crate) key: Key,
    pub(crate) seq: u64,
    pub(crate) prev: Lsn,
    pub(crate) durable: Lsn,
}

/// The little-endian number of `N` bytes at `at`. The caller has checked the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N")
}

impl Header {
    /// Reads a header without believing it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        Some(Self {
            crc: u32::from_le_bytes(array(bytes, 0)),
            len: u32::from_le_bytes(array(bytes, 4)),
            kind: Kind(bytes[8]),
            flags: bytes[9],
            meta_len: u16::from_le_bytes(array(bytes, 10)),
            time_us: u64::from_le_bytes(array(bytes, 16)),
            key: Key(u128::from_le_bytes(array(bytes, 24))),
            seq: u64::from_le_bytes(array(bytes, 40)),
            prev: Lsn(u64::from_le_bytes(array(bytes, 48))),
            durable: Lsn(u64::from_le_bytes(array(bytes, 56))),
        })
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8] = self.kind.0;
        bytes[9] = self.flags;
        bytes[10..12].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.seq.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.prev.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.durable.0.to_le_bytes());
        bytes
    }

    /// Bytes of the payload; what a length that cannot be makes of it is 0.
    pub(crate) fn payload_bytes(&self) -> usize {
        (self.len as usize).saturating_sub(HEADER_BYTES + usize::from(self.meta_len))
    }

    /// Bytes with padding, if the length is one that `room` bytes can hold.
    pub(crate) fn stored_bytes(&self, room: usize) -> Option<usize> {
        let len = self.len as usize;
        (len >= HEADER_BYTES + self.meta_len as usize && padded(len) <= room).then_some(padded(len))
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The length is 0: nothing was written here.
    Blank,
    /// The length cannot be, or the checksum differs.
    Bad,
}

/// What binds a record to its place. The odd factor makes the seed different for every offset of one segment.
pub(crate) fn crc_seed(salt: u64, offset: u32) -> u32 {
    (salt ^ (salt >> 32)) as u32 ^ (offset / ALIGN as u32).wrapping_mul(0x9e37_79b1)
}

/// Takes apart the record at the start of `bytes`, whose address is `lsn`, without verifying its checksum.
pub(crate) fn decode(bytes: &[u8], lsn: Lsn) -> Result<(Record<'_>, usize), Invalid> {
    let header = Header::decode(bytes).ok_or(Invalid::Blank)?;
    if header.len == 0 {
        return Err(Invalid::Blank);
    }
    let stored = header.stored_bytes(bytes.len()).ok_or(Invalid::Bad)?;
    let (payload, meta) = bytes[HEADER_BYTES..header.len as usize]
        .split_at(header.len as usize - HEADER_BYTES - header.meta_len as usize);
    let record = Record {
        lsn,
        kind: header.kind,
        flags: header.flags,
        key: header.key,
        seq: header.seq,
        prev: header.prev,
        time_us: header.time_us,
        durable: header.durable,
        meta,
        payload,
    };
    Ok((record, stored))
}

/// As [`decode`], and the checksum holds.
pub(crate) fn decode_verified(bytes: &[u8], lsn: Lsn, salt: u64) -> Result<(Record<'_>, usize), Invalid> {
    let (record, stored) = decode(bytes, lsn)?;
    let mut hasher = crc32fast::Hasher::new_with_initial(crc_seed(salt, lsn.offset()));
    hasher.update(&bytes[4..stored]);
    if hasher.finalize() == u32::from_le_bytes(array(bytes, 0)) { Ok((record, stored)) } else { Err(Invalid::Bad) }
}

/// The checksum of a record from its parts.
pub(crate) fn crc_of(header: &Header, payload: &[&[u8]], meta: &[u8], salt: u64, offset: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc_seed(salt, offset));
    hasher.update(&header.encode()[4..]);
    for part in payload {
        hasher.update(part);
    }
    hasher.update(meta);
    hasher.update(&[0; ALIGN][..padded(header.len as usize) - header.len as usize]);
    hasher.finalize()
}

/// One record as bytes, for files that are written whole. `durable` and `prev` are given.
pub(crate) fn encode(record: &NewRecord<'_>, lsn: Lsn, prev: Lsn, durable: Lsn, salt: u64) -> Vec<u8> {
    let mut header = header_of(record, prev, durable);
    header.crc = crc_of(&header, record.payload, record.meta, salt, lsn.offset());
    let mut bytes = header.encode().to_vec();
    record.payload.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.extend_from_slice(record.meta);
    bytes.resize(padded(bytes.len()), 0);
    bytes
}

/// The header of a new record, its checksum still 0.
pub(crate) fn header_of(record: &NewRecord<'_>, prev: Lsn, durable: Lsn) -> Header {
    Header {
        crc: 0,
        len: record.bytes() as u32,
        kind: record.kind,
        flags: record.flags,
        meta_len: record.meta.len() as u16,
        time_us: record.time_us,
        key: record.key,
        seq: record.seq,
        prev,
        durable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(payload: &[u8], meta: &[u8], lsn: Lsn, salt: u64) -> Vec<u8> {
        let record =
            NewRecord { kind: Kind(3), flags: 1, key: Key(7 << 90), seq: 9, time_us: 11, meta, payload: &[payload] };
        encode(&record, lsn, Lsn::new(1, 4096), Lsn::new(1, 8192), salt)
    }

    #[test]
    fn a_header_lies_as_the_page_on_the_format_draws_it() {
        let page = include_str!("../../docs/log-format.md");
        let block = page.split("### Record").nth(1).unwrap().split("```").nth(1).unwrap();
        let mut rows = block.lines().filter(|line| !line.trim().is_empty());
        let places: Vec<usize> = rows.next().unwrap().split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let names: Vec<&str> = rows.next().unwrap().split('|').map(str::trim).filter(|name| !name.is_empty()).collect();
        // Each field has a byte of its own, so that none can stand where another is drawn.
        let repeated = |byte: u8| u64::from_le_bytes([byte; 8]);
        let bytes = Header {
            crc: repeated(1) as u32,
            len: repeated(2) as u32,
            kind: Kind(3),
            flags: 4,
            meta_len: repeated(5) as u16,
            time_us: repeated(7),
            key: Key(u128::from_le_bytes([8; 16])),
            seq: repeated(9),
            prev: Lsn(repeated(10)),
            durable: Lsn(repeated(11)),
        }
        .encode();
        let fields = ["crc", "len", "kind", "flags", "meta_len", "zero", "time", "key", "seq", "prev", "durable"];
        assert_eq!(names[..fields.len()], fields);
        for (at, field) in fields.iter().enumerate() {
            let byte = if *field == "zero" { 0 } else { at as u8 + 1 };
            assert!(bytes[places[at]..places[at + 1]].iter().all(|found| *found == byte), "{field}");
        }
    }

    proptest! {
        #[test]
        fn encode_then_decode_is_identity(payload in prop::collection::vec(any::<u8>(), 0..200), meta in prop::collection::vec(any::<u8>(), 0..40), offset in 512u32..100_000, salt in any::<u64>()) {
            let lsn = Lsn::new(2, offset * 8);
            let mut bytes = sample(&payload, &meta, lsn, salt);
            let stored = bytes.len();
            bytes.extend_from_slice(b"trailing");
            let (record, len) = decode_verified(&bytes, lsn, salt).unwrap();
            prop_assert_eq!(len, stored);
            prop_assert_eq!(record, Record {
                lsn, kind: Kind(3), flags: 1, key: Key(7 << 90), seq: 9, prev: Lsn::new(1, 4096), time_us: 11,
                durable: Lsn::new(1, 8192), meta: &meta, payload: &payload,
            });
            prop_assert_eq!(record.stored_bytes() as usize, stored);
        }

        #[test]
        fn no_flipped_bit_verifies(payload in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let lsn = Lsn::new(2, 4096);
            let mut bytes = sample(&payload, b"m", lsn, 5);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_verified(&bytes, lsn, 5).is_err());
        }

        #[test]
        fn a_record_verifies_only_at_its_own_place(offset in 512u32..1_000_000, other in 512u32..1_000_000, salt in any::<u64>(), salt2 in any::<u64>()) {
            let bytes = sample(b"ghost", b"", Lsn::new(2, offset * 8), salt);
            prop_assume!(offset != other);
            prop_assert!(decode_verified(&bytes, Lsn::new(2, other * 8), salt).is_err());
            prop_assume!((salt ^ (salt >> 32)) as u32 != (salt2 ^ (salt2 >> 32)) as u32);
            prop_assert!(decode_verified(&bytes, Lsn::new(2, offset * 8), salt2).is_err());
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode_verified(&bytes, Lsn::new(1, 4096), 0).is_err());
        }
    }

    #[test]
    fn every_prefix_of_a_record_is_refused() {
        let bytes = sample(b"payload that is cut", b"meta", Lsn::new(2, 4096), 5);
        for len in 0..bytes.len() {
            assert!(decode_verified(&bytes[..len], Lsn::new(2, 4096), 5).is_err(), "{len} bytes");
        }
    }
}
