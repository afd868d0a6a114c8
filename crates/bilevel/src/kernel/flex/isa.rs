//! The instruction set that the kernels use: the newest of the processor, or an older one that `BILEVEL_ISA` names, so
//! that one machine can test and measure what another runs.

use crate::choice;
use macerator::Arch;
use std::sync::OnceLock;

/// The environment variable that names an instruction set.
const VARIABLE: &str = "BILEVEL_ISA";

choice! {
    /// Instruction sets for vectors of floats.
    pub enum InstructionSet {
        /// None: one value at a time.
        Scalar = "scalar",
        /// x86-64-v2: vectors of 16 bytes, without fused multiply-adds.
        Sse = "sse4",
        /// x86-64-v3: vectors of 32 bytes.
        Avx2 = "avx2",
        /// x86-64-v4: vectors of 64 bytes.
        Avx512 = "avx512",
        /// Arm: vectors of 16 bytes.
        Neon = "neon",
    }
}

impl InstructionSet {
    fn of(arch: Arch) -> Self {
        // Which variants there are depends on the compiler and the target.
        match format!("{arch:?}").as_str() {
            "Scalar" => Self::Scalar,
            "V2" => Self::Sse,
            "V3" => Self::Avx2,
            name if name.starts_with("Neon") => Self::Neon,
            _ => Self::Avx512,
        }
    }

    /// This instruction set on a processor whose newest one is `newest`; `None` if it does not have it.
    fn within(self, newest: Arch) -> Option<Arch> {
        if self == Self::of(newest) {
            return Some(newest);
        }
        match self {
            Self::Scalar => Some(Arch::Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Sse => matches!(Self::of(newest), Self::Avx2 | Self::Avx512).then_some(Arch::V2),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => (Self::of(newest) == Self::Avx512).then_some(Arch::V3),
            _ => None,
        }
    }
}

/// The instruction set of the kernels.
///
/// # Errors
/// Returns an error if `BILEVEL_ISA` does not name one that this processor has.
pub fn instruction_set() -> Result<InstructionSet, String> {
    chosen().as_ref().map(|arch| InstructionSet::of(*arch)).map_err(Clone::clone)
}

/// The instruction set of the kernels; the newest if `BILEVEL_ISA` is wrong.
pub(super) fn arch() -> Arch {
    chosen().as_ref().map_or_else(|_| Arch::detect(), |arch| *arch)
}

fn chosen() -> &'static Result<Arch, String> {
    static CHOSEN: OnceLock<Result<Arch, String>> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(std::env::var(VARIABLE).ok().as_deref(), Arch::detect()))
}

fn choose(name: Option<&str>, newest: Arch) -> Result<Arch, String> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(newest) };
    let wanted: InstructionSet =
        name.parse().map_err(|reason| format!("{VARIABLE}={name} names no instruction set: {reason}"))?;
    wanted.within(newest).ok_or_else(|| {
        format!(
            "{VARIABLE}={name}: this processor does not have it; its newest is {}",
            InstructionSet::of(newest)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;

    #[test]
    fn the_newest_is_used_unless_another_is_named() {
        let newest = Arch::detect();
        let chosen = |name| choose(name, newest).map(InstructionSet::of);
        assert_eq!(chosen(None), Ok(InstructionSet::of(newest)));
        assert_eq!(chosen(Some("")), Ok(InstructionSet::of(newest)));
        assert_eq!(chosen(Some("scalar")), Ok(InstructionSet::Scalar));
        for set in InstructionSet::ALL {
            match chosen(Some(set.name())) {
                Ok(found) => assert_eq!(found, *set),
                Err(reason) => assert!(reason.contains("this processor does not have it"), "{reason}"),
            }
        }
        assert!(chosen(Some("avx9")).unwrap_err().contains("it must be one of scalar, sse4, avx2"));
    }
}
