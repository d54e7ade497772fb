//! Hands a node's outputs on to the store; one that could not be handed on is an input for the node.

use bytes::Bytes;
use rumormill_core::{
    LoadId, Seq,
    io::{Input, StoreOp},
};

use super::StoreHandle;

const NO_STORE: &str = "there is no store";

/// Hands a batch to the store. The input tells the node that it was not taken.
pub fn push_batch(
    store: Option<&StoreHandle>,
    seq: Seq,
    batch: Vec<StoreOp>,
    sync: bool,
) -> Option<Input> {
    let pushed = match store {
        Some(store) => store
            .push(seq, batch, sync)
            .map_err(|error| error.to_string()),
        None => Err(NO_STORE.to_owned()),
    };
    pushed.err().map(|error| Input::StoreFailed { error })
}

/// Asks the store for a record. The input tells the node that it was not asked.
pub fn push_load(store: Option<&StoreHandle>, load: LoadId, query: Bytes) -> Option<Input> {
    let asked = match store {
        Some(store) => store.load(load, query).map_err(|error| error.to_string()),
        None => Err(NO_STORE.to_owned()),
    };
    let result = Err(asked.err()?);
    Some(Input::Loaded { load, result })
}
