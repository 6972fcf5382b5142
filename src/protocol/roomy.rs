//! Bytes with room before them: what goes around a page of messages is put there without moving the page, so that the copy
//! from the log is the only one on this side of the kernel.
//!
//! Where the room is used up the bytes are moved once and all the same right. Not here: what is put around them.

use std::ops::Deref;

/// See the top of the file. The empty one takes no memory.
#[derive(Clone, Default)]
pub struct Roomy {
    bytes: Vec<u8>,
    /// The room ends and the content begins here.
    start: usize,
}

impl Roomy {
    /// The content is what lies behind the first `room` of `bytes`.
    ///
    /// # Panics
    /// When there are fewer bytes than that.
    pub fn new(bytes: Vec<u8>, room: usize) -> Self {
        assert!(room <= bytes.len(), "the room is part of the bytes");
        Self { bytes, start: room }
    }

    /// Bytes that may be put before the content without moving it.
    pub fn room(&self) -> usize {
        self.start
    }

    /// Puts `before` in front of the content.
    pub fn prepend(&mut self, before: &[u8]) {
        if before.len() > self.start {
            let more = before.len() - self.start;
            self.bytes.splice(..0, std::iter::repeat_n(0, more));
            self.start += more;
        }
        let end = self.start;
        self.start -= before.len();
        self.bytes[self.start..end].copy_from_slice(before);
    }

    /// To append to the content. What stands there already is to be left alone.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends another one. Behind nothing it is moved, not copied.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else {
            self.bytes.extend_from_slice(&other);
        }
    }

    /// The bytes, and where in them the content begins.
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.bytes, self.start)
    }

    /// The content alone.
    pub fn into_vec(self) -> Vec<u8> {
        let Self { mut bytes, start } = self;
        bytes.drain(..start);
        bytes
    }
}

impl Deref for Roomy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl From<Vec<u8>> for Roomy {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }
}

impl From<String> for Roomy {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Roomy {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Room is no content.
impl PartialEq for Roomy {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Roomy {}

impl std::fmt::Debug for Roomy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_around_the_content_stands_there_whether_there_is_room_or_not() {
        for room in 0..8 {
            let mut bytes = vec![b'x'; room];
            bytes.extend_from_slice(b"content");
            let mut roomy = Roomy::new(bytes, room);
            assert_eq!(&*roomy, b"content");
            roomy.prepend(b"two ");
            roomy.tail().extend_from_slice(b" three");
            roomy.prepend(b"1 ");
            assert_eq!(&*roomy, b"1 two content three", "room for {room}");
            let (bytes, start) = roomy.clone().into_parts();
            assert_eq!((&bytes[start..], roomy.room()), (&*roomy, start));
            assert_eq!(roomy.into_vec(), b"1 two content three");
        }
    }

    #[test]
    fn appending_to_nothing_keeps_the_room_and_to_something_the_order() {
        let mut all = Roomy::default();
        all.append(Roomy::new(b"..a".to_vec(), 2));
        assert_eq!((all.room(), &*all), (2, &b"a"[..]));
        all.append(Roomy::new(b"..b".to_vec(), 2));
        assert_eq!((all.room(), &*all), (2, &b"ab"[..]));
        assert_eq!(all, Roomy::from("ab"));
    }
}
