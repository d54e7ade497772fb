//! The page of formats shows bytes as they are written.

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

use crate::log::format::{self, HEADER, Header};

const PAGE: &str = include_str!("../../docs/format.md");

/// Dumps bytes as the page does: sixteen in a line, each line behind its place.
fn dump(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).enumerate().map(|(n, line)| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}", n * 16, hex.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_of_formats_shows_the_bytes_of_a_log_file() {
    let salt = 0x0102_0304_0506_0708;
    let header = Header {
        number: 1,
        first: 1,
        salt,
    };
    let key = Bytes::from_static(b"key");
    let batch = [
        StoreOp::Put(Record {
            key: key.clone(),
            value: Bytes::from_static(b"value"),
        }),
        StoreOp::Delete(key.clone()),
        StoreOp::DeleteRange {
            from: key,
            until: Bytes::from_static(b"l"),
        },
    ];
    let mut record = Vec::new();
    format::begin(&mut record);
    for op in &batch {
        format::push(&mut record, op, salt);
    }
    format::finish(&mut record, 1, 0, salt);
    let mut file = header.to_bytes().to_vec();
    assert_eq!(file.len(), HEADER);
    file.extend_from_slice(&record);
    let shown = dump(&file);
    assert!(PAGE.contains(&shown), "the page has to show\n{shown}");
}
