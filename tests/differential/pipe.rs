//! Lengths of 32 bits, little endian, and what they are the lengths of: frames, and byte strings in one frame.

use std::io::{self, Read, Write};

use bytes::Bytes;

/// The next frame, or `None` when the other half has ended.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(Some(frame.into()))
}

/// An answer: whether it is one or a complaint, then its bytes.
pub(crate) fn write(to: &mut impl Write, answer: &Result<Vec<u8>, String>) -> io::Result<()> {
    let (status, payload) = match answer {
        Ok(payload) => (0, payload.as_slice()),
        Err(complaint) => (1, complaint.as_bytes()),
    };
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.extend((payload.len() as u32 + 1).to_le_bytes());
    frame.push(status);
    frame.extend(payload);
    to.write_all(&frame)?;
    to.flush()
}

pub(crate) fn packed(list: &[Bytes]) -> Vec<u8> {
    let each = list.iter().map(|bytes| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat());
    each.collect::<Vec<_>>().concat()
}
