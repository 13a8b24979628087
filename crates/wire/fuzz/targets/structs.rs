//! What a store of structs is given, it holds: see the checks.
#![no_main]

#[path = "../../../document/tests/structs/checks.rs"]
mod checks;
#[path = "../../../document/tests/structs/choices.rs"]
mod choices;
#[path = "../../../document/tests/structs/generate.rs"]
mod generate;
#[path = "../../../document/tests/structs/units.rs"]
mod units;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::case(bytes));
