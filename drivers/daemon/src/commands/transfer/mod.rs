//! `import` and `export`: rows between tables and files, over HTTP.

mod delivery;
mod export;
mod import;
mod lines;
mod refused;
#[cfg(test)]
mod tests;

pub(crate) use export::export;
pub(crate) use import::import;
