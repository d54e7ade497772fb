//! What every store has to pass.
