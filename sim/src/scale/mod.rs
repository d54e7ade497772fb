//! Clusters of many sizes, measured: what they cost and how fast they are, each figure beside its bound and its goal.
//!
//! A [`Lab`] is one cluster on a healthy network with the same latency everywhere, up to a fifth more or less. The
//! [`stages`] go over it in order, each a function of the cluster alone, so that a seed and a number of nodes give the same
//! figures on every machine. Bytes are those of the frames that a driver would write; keepalives and TCP are not counted.
//! Real time is measured by the caller, which divides it by the counts in [`Work`].
//!
//! ```
//! use rumormill_sim::scale::{Lab, stages};
//!
//! let mut lab = Lab::new(3, 1);
//! let formed = (stages()[0].run)(&mut lab);
//! assert!(formed.figures.iter().all(|figure| figure.value.is_some()));
//! ```

mod deaths;
mod figure;
mod lab;
mod meter;
mod rest;
mod writes;

#[cfg(test)]
mod tests;

pub use figure::{Figure, Goal};
pub use lab::Lab;
pub(crate) use meter::{Meter, Parcel};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Measures a cluster that all earlier stages have gone over.
    pub run: fn(&mut Lab) -> Measured,
}

/// The findings of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// In the order of reports.
    pub figures: Vec<Figure>,
    /// The work of the stage, where its real time is of interest.
    pub work: Option<Work>,
}

/// The pieces of work of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// The name of the figure that the time per piece is.
    pub name: &'static str,
    /// How many pieces there were.
    pub pieces: u64,
    /// The goal for the processor time of one, in microseconds.
    pub goal_us: f64,
}

/// All stages, in order. The deaths come last.
pub const fn stages() -> [Stage; 8] {
    [
        stage("formation", rest::form),
        stage("idle", rest::idle),
        stage("single writes", writes::single),
        stage("burst", writes::burst),
        stage("steady", writes::steady),
        stage("loss", writes::loss),
        stage("partition", writes::partition),
        stage("deaths", deaths::deaths),
    ]
}

const fn stage(name: &'static str, run: fn(&mut Lab) -> Measured) -> Stage {
    Stage { name, run }
}
