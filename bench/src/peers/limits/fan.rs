//! Fan-out at the least: a line comes in, a frame is made of it once and sent to every reader.

use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// Serves one publisher and its readers until the publisher has gone.
pub fn run(listener: &TcpListener, readers: usize, before: &[u8], behind: &[u8], fold: bool) -> Result<()> {
    let accept = || -> Result<TcpStream> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut publisher = accept()?;
    let mut readers = (0..readers).map(|_| accept()).collect::<Result<Vec<_>>>()?;
    let mut input = vec![0; READ_BYTES];
    let (mut held, mut output) = (0, Vec::new());
    loop {
        ensure!(held < input.len(), "a line is longer than {READ_BYTES} bytes");
        let read = publisher.read(&mut input[held..])?;
        if read == 0 {
            return Ok(());
        }
        let end = held + read;
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &input[at..end]) {
            [before, &input[at..at + length], behind].iter().for_each(|part| output.extend_from_slice(part));
            at += length + 1;
            if !fold {
                send(&mut readers, &mut output);
            }
        }
        send(&mut readers, &mut output);
        input.copy_within(at..end, 0);
        held = end - at;
    }
}

/// Readers whose connection ends are left out from then on.
fn send(readers: &mut Vec<TcpStream>, output: &mut Vec<u8>) {
    if !output.is_empty() {
        readers.retain_mut(|reader| reader.write_all(output).is_ok());
        output.clear();
    }
}
