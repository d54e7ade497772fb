//! Buffers that are lent for a read each, so that an idle link owns none.

use std::sync::Mutex;

use rumormill_kit::answer::lock;
use rumormill_kit::links::READ_BYTES;

/// Buffers that are kept.
const BUFFERS: usize = 8;

/// Buffers for all links of a driver.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    pub(crate) fn lend(&self) -> Vec<u8> {
        let kept = lock(&self.0).pop();
        kept.unwrap_or_else(|| vec![0; READ_BYTES])
    }

    pub(crate) fn take_back(&self, buffer: Vec<u8>) {
        let mut kept = lock(&self.0);
        if kept.len() < BUFFERS {
            kept.push(buffer);
        }
    }
}
