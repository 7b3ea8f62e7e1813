//! Says whether messages can be sealed yet: until then the target for it is empty.

use std::path::Path;

const SEAL: &str = "../src/wire/seal.rs";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_seal)");
    println!("cargo::rerun-if-changed=../src/wire");
    if Path::new(SEAL).exists() {
        println!("cargo::rustc-cfg=has_seal");
    }
}
