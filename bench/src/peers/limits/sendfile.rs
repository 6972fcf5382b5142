//! Replay at the least: the answer lies in a file and the kernel sends it.

use anyhow::Result;
use rustix::fs::sendfile;
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};

/// Serves one connection after the other.
pub fn run(listener: &TcpListener, request_bytes: usize, file: &File) -> Result<()> {
    let length = file.metadata()?.len();
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        serve(stream, request_bytes, file, length)?;
    }
}

fn serve(mut stream: TcpStream, request_bytes: usize, file: &File, length: u64) -> Result<()> {
    let mut request = vec![0; request_bytes];
    while stream.read_exact(&mut request).is_ok() {
        let mut at = 0;
        while at < length {
            let left = (length - at) as usize;
            match sendfile(&stream, file, Some(&mut at), left) {
                Ok(_) | Err(Errno::INTR) => {}
                // The reader has gone.
                Err(Errno::CONNRESET | Errno::PIPE) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
