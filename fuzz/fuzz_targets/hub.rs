//! A class on the real exchange, in memory and in virtual time, that does anything in any order.
//!
//! Owns: nothing but the way in. Refuses to know: what is done (`steps`), and what must be true after it (`class`).
#![no_main]

use classhub_fuzz::class::Class;
use classhub_fuzz::steps::Play;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|play: Play| Class::play(&play));
