//! What the targets are made of, where that is more than a file of their own.

mod memory;
pub mod socket;
pub mod steps;
pub mod view;

pub use memory::Counting;
