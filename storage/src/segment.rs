//! One segment: its name, its header page, its seal, and where a record stands in its file.
//!
//! A segment is *unsealed* while its file has the length it was allocated with, and *sealed* when it is shorter: sealing
//! puts a seal record behind the last record and cuts the file there, once everything before it is on disk. A *packed*
//! segment was rewritten without its dead records; a table at its end maps the addresses that records always had to where
//! they stand now, and each checksum stays bound to the old address. Nothing here opens files or decides about damage.

use crate::record::{self, Invalid, NewRecord, Record};
use crate::{Key, Kind, Lsn};

/// Bytes of the header page; the first record stands behind it.
pub const SEGMENT_HEADER_BYTES: u32 = 4096;
/// Bytes of a seal record.
pub(crate) const SEAL_BYTES: u32 = 80;
/// The format that this version writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"FLEETSEG";
const NAME_SUFFIX: &str = ".segment";
/// Bytes of the header page that mean something; the rest is zero.
const HEADER_USED_BYTES: usize = 64;
/// Bytes of the footer of a packed segment.
pub(crate) const FOOTER_BYTES: usize = 16;
/// Bytes of one line of a packed segment's table.
pub(crate) const TABLE_LINE_BYTES: usize = 8;

/// The file name of a segment.
pub fn file_name(number: u32) -> String {
    format!("{number:08x}{NAME_SUFFIX}")
}

/// The number in the file name of a segment.
pub fn parse_file_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (number > 0 && file_name(number) == name).then_some(number)
}

/// What a segment's header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number, unique in the folder for ever.
    pub number: u32,
    /// The start of the server that wrote it, named by the number that start began with.
    pub life: u32,
    /// The shard that wrote it.
    pub shard: u16,
    /// Shards of that start.
    pub shards: u16,
    /// Bytes it was allocated with.
    pub allocated: u32,
    /// Whether it was rewritten without its dead records.
    pub packed: bool,
    /// Binds its records to it.
    pub salt: u64,
}

impl SegmentHeader {
    /// The header page's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[16..20].copy_from_slice(&self.number.to_le_bytes());
        page[20..24].copy_from_slice(&self.life.to_le_bytes());
        page[24..26].copy_from_slice(&self.shard.to_le_bytes());
        page[26..28].copy_from_slice(&self.shards.to_le_bytes());
        page[28..32].copy_from_slice(&self.allocated.to_le_bytes());
        page[32] = u8::from(self.packed);
        page[40..48].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&page[..HEADER_USED_BYTES]);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads a header page. `None` when it is not one of this format or does not verify.
    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        let mut used: [u8; HEADER_USED_BYTES] = page.get(..HEADER_USED_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let crc = u32_at(12);
        used[12..16].fill(0);
        if used[..8] != MAGIC || u32_at(8) != FORMAT_VERSION || crc32fast::hash(&used) != crc {
            return None;
        }
        Some(Self {
            number: u32_at(16),
            life: u32_at(20),
            shard: u16::from_le_bytes([page[24], page[25]]),
            shards: u16::from_le_bytes([page[26], page[27]]),
            allocated: u32_at(28),
            packed: page[32] == 1,
            salt: u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32,
        })
    }

    /// The first offset that a record may not reach: room for the seal stays, and a sealed file is shorter than an
    /// unsealed one even when it is full.
    pub(crate) fn limit(&self) -> u32 {
        self.allocated - SEAL_BYTES - record::ALIGN as u32
    }
}

/// The salt of a segment of a start. The mixing only spreads the seed; secrecy is not needed.
pub(crate) fn salt_of(seed: u64, number: u32) -> u64 {
    let mut mixed = seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The seal record for a segment of `records` records that ends at `end`.
pub(crate) fn seal_record(records: u64, end: Lsn, durable: Lsn, salt: u64) -> Vec<u8> {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&records.to_le_bytes());
    let seal =
        NewRecord { kind: Kind::SEAL, flags: 0, key: Key(0), seq: 0, time_us: 0, meta: &[], payload: &[&payload] };
    record::encode(&seal, end, Lsn::NONE, durable, salt)
}

/// The records that a seal counts.
pub(crate) fn sealed_records(seal: &Record<'_>) -> u64 {
    seal.payload.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

/// Where records stand in a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) number: u32,
    pub(crate) salt: u64,
    /// No record starts at or above this offset.
    pub(crate) end: u32,
    pub(crate) table: Option<Table>,
}

/// The table of a packed segment: `lines` pairs of old offset and present offset at `start` of the file, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) start: usize,
    pub(crate) lines: usize,
}

impl Table {
    /// The old and the present offset of line `line`.
    pub(crate) fn line(self, bytes: &[u8], line: usize) -> (u32, u32) {
        let at = self.start + line * TABLE_LINE_BYTES;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        (number(at), number(at + 4))
    }

    fn find(self, bytes: &[u8], offset: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.lines);
        while low < high {
            let middle = low + (high - low) / 2;
            let (old, present) = self.line(bytes, middle);
            match old.cmp(&offset) {
                std::cmp::Ordering::Equal => return Some(present),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// What the last bytes of a packed segment say, unverified: its table, the end of the addresses it holds, a checksum.
fn footer_claims(bytes: &[u8]) -> Option<(Table, u32, u32)> {
    let at = bytes.len().checked_sub(FOOTER_BYTES)?;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (crc, lines, end) = (number(at), number(at + 4) as usize, number(at + 8));
    let start = at.checked_sub(lines.checked_mul(TABLE_LINE_BYTES)?)?;
    (start >= SEGMENT_HEADER_BYTES as usize).then_some((Table { start, lines }, end, crc))
}

/// Where the footer of a packed segment says that its table begins, unverified: what must be in memory for [`footer`].
pub(crate) fn table_start(bytes: &[u8]) -> Option<usize> {
    footer_claims(bytes).map(|(table, ..)| table.start)
}

/// The table that a packed segment's footer names, and the end of the addresses it holds.
pub(crate) fn footer(bytes: &[u8]) -> Option<(Table, u32)> {
    let (table, end, crc) = footer_claims(bytes)?;
    let at = bytes.len() - FOOTER_BYTES;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[table.start..at]);
    hasher.update(&bytes[at + 4..]);
    (hasher.finalize() == crc).then_some((table, end))
}

/// Why there is no record at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRecord {
    /// Nothing ever started there, or it was dead and has been dropped.
    Unknown,
    /// What stands at this offset of the file does not verify.
    Corrupt(u32),
}

impl Layout {
    /// The same addresses in the file as it is now: it may have been packed since this layout was read, or packed again.
    /// `None` when its header or its footer does not verify.
    pub(crate) fn in_file(self, bytes: &[u8]) -> Option<Self> {
        let header = SegmentHeader::decode(bytes).filter(|header| header.number == self.number)?;
        let table = if header.packed { Some(footer(bytes)?.0) } else { None };
        Some(Self { table, ..self })
    }

    /// The offset in the file of the record with this address.
    pub(crate) fn place(&self, bytes: &[u8], offset: u32) -> Option<u32> {
        if offset < SEGMENT_HEADER_BYTES || offset >= self.end || !offset.is_multiple_of(record::ALIGN as u32) {
            return None;
        }
        match self.table {
            Some(table) => table.find(bytes, offset),
            None => Some(offset),
        }
    }

    /// The record at an offset, verified.
    pub(crate) fn record<'a>(&self, bytes: &'a [u8], offset: u32) -> Result<Record<'a>, NoRecord> {
        let place = self.place(bytes, offset).ok_or(NoRecord::Unknown)?;
        let tail = bytes.get(place as usize..).ok_or(NoRecord::Corrupt(place))?;
        match record::decode_verified(tail, Lsn::new(self.number, offset), self.salt) {
            Ok((record, _)) => Ok(record),
            Err(Invalid::Blank | Invalid::Bad) => Err(NoRecord::Corrupt(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(parse_file_name(&file_name(0xab)), Some(0xab));
        for name in ["000000AB.segment", "ab.segment", "00000000.segment", "000000ab.segment.tmp", "+00000ab.segment"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_survives_its_bytes_and_no_flipped_bit_does() {
        let header = SegmentHeader {
            number: 9,
            life: 8,
            shard: 1,
            shards: 4,
            allocated: 1 << 27,
            packed: true,
            salt: u64::MAX - 5,
        };
        let page = header.encode();
        assert_eq!(page.len(), 4096);
        assert_eq!(SegmentHeader::decode(&page), Some(header));
        for bit in 0..HEADER_USED_BYTES * 8 {
            let mut damaged = page.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&page[..63]), None);
    }

    #[test]
    fn a_seal_has_its_size_and_a_full_sealed_file_is_shorter_than_an_unsealed_one() {
        let seal = seal_record(3, Lsn::new(2, 4096), Lsn::NONE, 7);
        assert_eq!(seal.len() as u32, SEAL_BYTES);
        let (record, _) = record::decode_verified(&seal, Lsn::new(2, 4096), 7).unwrap();
        assert_eq!((record.kind, sealed_records(&record)), (Kind::SEAL, 3));
        let header =
            SegmentHeader { number: 9, life: 8, shard: 0, shards: 1, allocated: 1 << 16, packed: false, salt: 0 };
        assert!(header.limit() + SEAL_BYTES < header.allocated);
    }
}
