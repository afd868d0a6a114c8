//! Kernels and gradients on every instruction set that this processor has, not only on its newest.
//!
//! A process uses one instruction set, so that the tests run again as children with `BILEVEL_ISA`.

use bilevel::Choice;
use bilevel::kernel::{InstructionSet, instruction_set};
use std::process::Command;

/// Runs the tests that match `filters` on `set`. Returns the last lines of their output if they passed.
fn run_on(set: InstructionSet, filters: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(filters).env("BILEVEL_ISA", set.name()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

#[test]
fn kernels_and_gradients_hold_on_every_instruction_set() {
    let newest = instruction_set().unwrap();
    let older: &[InstructionSet] = match newest {
        InstructionSet::Avx512 => &[InstructionSet::Avx2, InstructionSet::Sse, InstructionSet::Scalar],
        InstructionSet::Avx2 => &[InstructionSet::Sse, InstructionSet::Scalar],
        _ => &[InstructionSet::Scalar],
    };
    for set in older.iter().filter(|set| **set != newest) {
        // One value at a time, whole gradients take a minute.
        let filters: &[&str] =
            if *set == InstructionSet::Scalar { &["kernels::"] } else { &["kernels::", "gradients::"] };
        let passed = run_on(*set, filters).unwrap_or_else(|output| panic!("{set}: {output}"));
        assert!(passed.contains("test result: ok") && !passed.contains(" 0 passed"), "{set}: {passed}");
    }
}
