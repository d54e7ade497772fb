//! The operations of one turn. The bytes of their records lie in one piece of memory that all of them share: no record is allocated by itself
//! here, and freed by itself on the thread of a store.

use alloc::vec::Vec;

use bytes::Bytes;

use super::bytes::Writer;
use super::seal;
use crate::io::{Record, StoreOp};

/// A piece of memory of at most so many bytes is used again in the next turn, and a copy of its content handed on.
const KEPT: usize = 512 << 10;

/// Collects the operations of a turn.
#[derive(Default)]
pub(crate) struct Batch {
    ops: Vec<Op>,
    records: Writer,
    size: usize,
}

enum Op {
    /// The next of the records: the lengths of its key, and of its value with the seal.
    Put { key: usize, value: usize },
    /// An operation with bytes of its own.
    Apart(StoreOp),
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Returns the sum of [`StoreOp::size`] over the operations.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Adds an operation with bytes of its own.
    pub(crate) fn push(&mut self, op: StoreOp) {
        self.size += op.size();
        self.ops.push(Op::Apart(op));
    }

    /// Adds a record: its key and value as they are written here, and its seal.
    pub(crate) fn put(&mut self, key: impl FnOnce(&mut Writer), value: impl FnOnce(&mut Writer)) {
        let start = self.records.len();
        key(&mut self.records);
        let middle = self.records.len();
        value(&mut self.records);
        seal::append(&mut self.records, start..middle);
        let end = self.records.len();
        self.size += end - start;
        self.ops.push(Op::Put {
            key: middle - start,
            value: end - middle,
        });
    }

    /// Takes all operations, in their order.
    pub(crate) fn take(&mut self) -> Vec<StoreOp> {
        self.size = 0;
        let mut rest = match self.records.capacity() <= KEPT {
            true => {
                let copy = Bytes::copy_from_slice(self.records.as_slice());
                self.records.clear();
                copy
            }
            false => core::mem::take(&mut self.records).finish(),
        };
        let ops = self.ops.drain(..).map(|op| match op {
            Op::Apart(op) => op,
            Op::Put { key, value } => StoreOp::Put(Record {
                key: rest.split_to(key),
                value: rest.split_to(value),
            }),
        });
        ops.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &'static [u8], body: &[u8]) -> StoreOp {
        let mut value = Writer::default();
        value.raw(body);
        seal::seal(Bytes::from_static(key), value)
    }

    fn put(batch: &mut Batch, key: &[u8], body: &[u8]) {
        let raw = |bytes: &[u8], writer: &mut Writer| {
            writer.raw(bytes);
        };
        batch.put(|writer| raw(key, writer), |writer| raw(body, writer));
    }

    #[test]
    fn a_record_is_the_same_as_one_with_bytes_of_its_own() {
        let mut batch = Batch::default();
        for len in [0, 1, 100, KEPT + 1, 7] {
            let body = [7].repeat(len);
            let all = [
                sealed(b"one", &body),
                StoreOp::Delete(Bytes::from_static(b"two")),
                sealed(b"three", b""),
            ];
            put(&mut batch, b"one", &body);
            batch.push(all[1].clone());
            put(&mut batch, b"three", b"");
            assert_eq!(batch.size(), all.iter().map(StoreOp::size).sum::<usize>());
            assert_eq!(batch.take(), all, "{len}");
            assert!(batch.is_empty() && batch.size() == 0);
            assert!(batch.records.capacity() <= KEPT, "{len}");
        }
        assert_eq!(batch.take(), []);
    }
}
