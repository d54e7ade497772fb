//! What every driver needs: bounded write queues, output dispatch, the store worker.

pub mod session;
pub mod store;
