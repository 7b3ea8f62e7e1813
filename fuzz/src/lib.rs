//! What the targets are made of, where that is more than a file of their own.

pub mod class;
mod door;
mod memory;
pub mod socket;
pub mod steps;
mod view;
mod voice;

pub use memory::Counting;
