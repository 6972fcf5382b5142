//! The protocol of Redis (RESP2): commands as arrays of bulk strings, replies of any type.

use super::{Step, excerpt, number};
use anyhow::{Context, Result, bail};
use std::io::Write;

/// Arrays within arrays that are followed: entries of a stream are three deep.
const DEPTH_MAX: usize = 6;

/// A command.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write!(out, "*{}\r\n", words.len()).expect("a Vec takes all");
    for word in words {
        write!(out, "${}\r\n", word.len()).expect("a Vec takes all");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// [`super::Codec`] of replies; an error reply is an error.
pub fn reply(bytes: &[u8]) -> Result<Step> {
    Ok(value_end(bytes, 0, DEPTH_MAX)?.map_or(Step::Partial, Step::Reply))
}

/// Where the value that begins at `at` ends; `None` when it is not whole.
fn value_end(bytes: &[u8], at: usize, depth: usize) -> Result<Option<usize>> {
    let Some(line) = memchr::memmem::find(&bytes[at.min(bytes.len())..], b"\r\n") else { return Ok(None) };
    let end = at + line + 2;
    let count = || number(&bytes[at + 1..end]).with_context(|| format!("no length: {}", excerpt(&bytes[at..])));
    let end = match bytes[at] {
        b'+' | b':' => end,
        b'$' | b'*' if bytes[at + 1] == b'-' => end,
        b'$' => end + count()? as usize + 2,
        b'*' if depth > 0 => {
            let mut end = end;
            for _ in 0..count()? {
                match value_end(bytes, end, depth - 1)? {
                    Some(next) => end = next,
                    None => return Ok(None),
                }
            }
            end
        }
        _ => bail!("refused: {}", excerpt(&bytes[at..])),
    };
    Ok((end <= bytes.len()).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::super::tests::steps_of;
    use super::*;

    #[test]
    fn replies_of_every_type_are_told_apart_wherever_they_are_cut() {
        let stream = b"+OK\r\n:12\r\n$5\r\nhe\r\no\r\n$-1\r\n*2\r\n*1\r\n$1\r\na\r\n:3\r\n*0\r\n";
        let steps = steps_of(reply, stream);
        assert_eq!(steps, [5, 5, 11, 5, 19, 4].map(Step::Reply));
    }

    #[test]
    fn an_error_reply_is_an_error() {
        assert!(reply(b"-ERR unknown command\r\n").unwrap_err().to_string().contains("unknown command"));
        assert!(reply(b"$x\r\n").is_err());
    }

    #[test]
    fn a_command_names_the_length_of_every_word() {
        assert_eq!(command(&[b"XADD", b"k"]), b"*2\r\n$4\r\nXADD\r\n$1\r\nk\r\n");
    }
}
