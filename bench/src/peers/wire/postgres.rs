//! The frontend/backend protocol 3.0 of PostgreSQL: prepared statements over the extended query protocol, text parameters, trust.

use super::{Step, excerpt};
use anyhow::{Result, bail};

/// A longer message is not believed.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a client says first; the server answers until it is ready for queries.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend_from_slice(&body);
    out
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(b'Q', &[sql.as_bytes(), b"\0"], &mut out);
    out
}

/// Prepares `sql` under `name`.
pub fn prepare(name: &str, sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"], &mut out);
    message(b'S', &[], &mut out);
    out
}

/// Executes what was prepared under `name`, in a transaction of its own.
pub fn execute(name: &str, parameters: &[&[u8]], out: &mut Vec<u8>) {
    let mut bind = vec![0];
    bind.extend_from_slice(name.as_bytes());
    bind.extend_from_slice(&[0, 0, 0]);
    bind.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        bind.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        bind.extend_from_slice(parameter);
    }
    bind.extend_from_slice(&[0, 0]);
    message(b'B', &[&bind], out);
    message(b'E', &[b"\0\0\0\0\0"], out);
    message(b'S', &[], out);
}

fn message(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    out.extend_from_slice(&(bytes as u32 + 4).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// [`super::Codec`]: everything up to "ready for query" is one reply, a notification is another thing.
pub fn reply(bytes: &[u8]) -> Result<Step> {
    let mut at = 0;
    loop {
        let Some((kind, end)) = message_at(bytes, at)? else { return Ok(Step::Partial) };
        match kind {
            b'E' => bail!("refused: {}", excerpt(&bytes[at..end.min(bytes.len())])),
            b'A' if at == 0 => return Ok(Step::Other(end)),
            b'Z' => return Ok(Step::Reply(end)),
            _ => at = end,
        }
    }
}

/// Rows of a whole reply.
pub fn rows(reply: &[u8]) -> Result<usize> {
    let (mut at, mut rows) = (0, 0);
    while let Some((kind, end)) = message_at(reply, at)? {
        rows += usize::from(kind == b'D');
        at = end;
    }
    Ok(rows)
}

fn message_at(bytes: &[u8], at: usize) -> Result<Option<(u8, usize)>> {
    let Some([kind, a, b, c, d]) = bytes.get(at..at + 5) else { return Ok(None) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
        bail!("no message of PostgreSQL: {}", excerpt(&bytes[at..]));
    }
    let end = at + 1 + length;
    Ok((end <= bytes.len()).then_some((*kind, end)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::steps_of;
    use super::*;

    fn of(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        message(kind, &[body], &mut out);
        out
    }

    #[test]
    fn a_reply_ends_where_the_server_is_ready_wherever_it_is_cut() {
        let answer =
            [of(b'2', b""), of(b'D', b"row"), of(b'D', b"row"), of(b'C', b"INSERT\0"), of(b'Z', b"I")].concat();
        let stream = [answer.clone(), of(b'A', b"payload"), answer.clone()].concat();
        let replies = Step::Reply(answer.len());
        assert_eq!(steps_of(reply, &stream), [replies, Step::Other(12), replies]);
        assert_eq!(rows(&answer).unwrap(), 2);
    }

    #[test]
    fn an_error_response_is_an_error() {
        assert!(reply(&of(b'E', b"SERROR\0Mno table\0\0")).unwrap_err().to_string().contains("no table"));
        assert!(reply(b"HTTP/1.1 400 Bad Request").is_err());
    }

    #[test]
    fn an_execution_is_a_bind_an_execute_and_a_sync() {
        let mut out = Vec::new();
        execute("i", &[b"1", b"abc"], &mut out);
        let kinds = || -> Result<Vec<u8>> {
            let (mut at, mut kinds) = (0, Vec::new());
            while let Some((kind, end)) = message_at(&out, at)? {
                kinds.push(kind);
                at = end;
            }
            Ok(kinds)
        };
        assert_eq!(kinds().unwrap(), b"BES");
    }
}
