//! Backends and their devices: opening a backend by name, or the fastest one available.

use crate::choice;
use crate::hypergradient::Workers;
use crate::kernel::instruction_set;
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
use std::fs;
use std::path::Path;

choice! {
    /// A Burn backend: what computes the tensors, and on which kind of device.
    pub enum Backend {
        /// The fastest backend that was compiled in and has a device.
        Auto = "auto",
        /// CPU: Burn's Flex.
        Flex = "flex",
        /// CPU: ndarray.
        Ndarray = "ndarray",
        /// GPU: WebGPU.
        Wgpu = "wgpu",
        /// GPU: Vulkan.
        Vulkan = "vulkan",
        /// GPU: CUDA.
        Cuda = "cuda",
    }
}

/// An opened device.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The backend of the device; never [`Backend::Auto`].
    pub backend: Backend,
    /// The name of the device, for messages.
    pub description: String,
    /// The device.
    pub device: Device,
    /// How a meta-batch is divided into chunks on it.
    pub workers: Workers,
    /// Whether it is a hardware GPU, not a software renderer.
    pub is_gpu: bool,
}

impl Opened {
    /// Whether it is a CPU backend.
    pub fn is_cpu(&self) -> bool {
        matches!(self.backend, Backend::Flex | Backend::Ndarray)
    }

    /// Sets the number of threads of a CPU; `None` keeps one per core. No effect on a GPU, which one thread keeps busy.
    ///
    /// The global thread pool of the process gets the same size, unless it exists already.
    pub fn with_threads(self, threads: Option<usize>) -> Self {
        match threads.filter(|_| self.is_cpu()) {
            None => self,
            Some(threads) => {
                // Fails only if the global pool exists already.
                let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
                cpu(self.backend, self.device, threads)
            }
        }
    }
}

/// A backend that is not available.
#[derive(Debug, thiserror::Error)]
#[error("backend `{backend}` is not available: {reason}; `metaburn backends` lists what is")]
pub struct Error {
    /// The backend.
    pub backend: Backend,
    /// Why it is not available.
    pub reason: String,
}

/// All backends except [`Backend::Auto`], in order of preference.
pub const ALL: [Backend; 5] =
    [Backend::Cuda, Backend::Vulkan, Backend::Wgpu, Backend::Flex, Backend::Ndarray];

/// The variables in which launchers number the processes of a machine: Open MPI, MPICH and Intel MPI, Slurm.
#[cfg(any(feature = "wgpu", feature = "cuda", test))]
const LOCAL_RANKS: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/// Which of `count` ≥ 1 GPUs this process uses: processes that a launcher started on the same machine take them in turn. `variable`
/// reads an environment variable.
#[cfg(any(feature = "wgpu", feature = "cuda", test))]
fn own_gpu(count: usize, variable: impl Fn(&str) -> Option<String>) -> usize {
    let number = LOCAL_RANKS.into_iter().find_map(|name| variable(name)?.trim().parse::<usize>().ok());
    number.unwrap_or_default() % count
}

/// The one of these GPUs, all of a kind, that this process uses; `None` if there is none.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn own(mut gpus: Vec<Device>) -> Option<Device> {
    let count = gpus.len();
    (count > 0).then(|| gpus.swap_remove(own_gpu(count, |name| std::env::var(name).ok())))
}

/// Opens `backend`. [`Backend::Auto`] opens the first hardware GPU in the order of [`ALL`], or flex if there is none.
///
/// On a machine with several GPUs of a kind, processes that `mpirun` or `srun` started together take one each, in turn.
///
/// # Errors
/// Returns an error, with the reason, if the backend was not compiled in or has no device.
///
/// ```
/// use bilevel::device::{Backend, open};
///
/// let opened = open(Backend::Flex)?;
/// assert!(opened.is_cpu());
/// let theta = burn::tensor::Tensor::<3>::zeros([1, 8, 1], &opened.device);
/// # assert_eq!(theta.dims(), [1, 8, 1]);
/// # Ok::<(), bilevel::device::Error>(())
/// ```
pub fn open(backend: Backend) -> Result<Opened, Error> {
    let error = |reason| Error { backend, reason };
    match backend {
        // Looking for GPUs loads all drivers; Mesa's software renderer takes 100 MB.
        Backend::Auto if !may_have_gpu() => open(Backend::Flex),
        Backend::Auto => {
            // One at a time, so that the same card is not opened by two backends at once.
            let gpus = [Backend::Cuda, Backend::Vulkan, Backend::Wgpu].into_iter();
            let found = gpus.filter_map(|backend| open(backend).ok()).find(|opened| opened.is_gpu);
            found.map_or_else(|| open(Backend::Flex), Ok)
        }
        Backend::Flex => {
            instruction_set().map_err(error)?;
            Ok(cpu(backend, Device::flex(), cores()))
        }
        Backend::Ndarray => ndarray().map_err(error),
        Backend::Wgpu => wgpu().map_err(error),
        Backend::Vulkan => vulkan().map_err(error),
        Backend::Cuda => cuda().map_err(error),
    }
}

/// Whether this machine may have a GPU. On Linux, a GPU that can compute has a device file.
fn may_have_gpu() -> bool {
    !cfg!(target_os = "linux")
        || ["/dev", "/dev/dri"].into_iter().any(|folder| has_gpu_file(Path::new(folder)))
}

/// Whether `folder` has a device file of a GPU: of NVIDIA's driver, AMD's, Qualcomm's, Windows' (in WSL), ARM's, or any
/// driver of the kernel.
fn has_gpu_file(folder: &Path) -> bool {
    const BEGINNINGS: [&str; 8] = ["nvidia", "nvhost", "nvgpu", "kfd", "kgsl", "dxg", "mali", "renderD"];
    let names = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.into_iter().any(|name| BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
}

/// The kind of processor: its instruction set for the kernels, and the features that other libraries choose theirs by. Two
/// processors of one kind compute the same bits.
pub fn processor() -> String {
    let kernels = instruction_set().map_or_else(|reason| reason, |set| set.to_string());
    format!("{} {kernels}{}", std::env::consts::ARCH, features())
}

#[cfg(target_arch = "x86_64")]
fn features() -> String {
    macro_rules! found {
        ($($name:tt)+) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),+]
        };
    }
    let all = found!["sse4.1" "sse4.2" "avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vnni" "avx512bf16" "avx512fp16"];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| format!(" {name}")).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> String {
    String::new()
}

/// The number of hardware threads.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cpu(backend: Backend, device: Device, threads: usize) -> Opened {
    let plural = if threads == 1 { "" } else { "s" };
    let description = format!("CPU, {threads} thread{plural}");
    Opened { backend, description, device, workers: Workers::on_cpu(threads), is_gpu: false }
}

#[cfg(feature = "ndarray")]
fn ndarray() -> Result<Opened, String> {
    #[allow(deprecated)] // Burn deprecates ndarray in favour of flex; it stays selectable here.
    Ok(cpu(Backend::Ndarray, Device::ndarray(), cores()))
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Opened, String> {
    Err(not_built("ndarray"))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Opened, String> {
    graphics(Backend::Wgpu, burn::tensor::DeviceType::Wgpu, Device::wgpu)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Opened, String> {
    Err(not_built("wgpu"))
}

#[cfg(feature = "vulkan")]
fn vulkan() -> Result<Opened, String> {
    graphics(Backend::Vulkan, burn::tensor::DeviceType::Vulkan, Device::vulkan)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan() -> Result<Opened, String> {
    Err(not_built("vulkan"))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Opened, String> {
    let missing = "no CUDA device was found; is NVIDIA's driver installed (`nvidia-smi`)?";
    let devices = quietly(|| Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec())?;
    let device = own(devices).ok_or(missing)?;
    let description =
        quietly(|| device.identity())?.map_or_else(|| "CUDA device".into(), |identity| identity.name);
    Ok(Opened { backend: Backend::Cuda, description, device, workers: Workers::TOGETHER, is_gpu: true })
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Opened, String> {
    Err(not_built("cuda"))
}

/// Opens the best adapter of a graphics API: discrete before integrated GPUs, software renderers last.
#[cfg(feature = "wgpu")]
fn graphics(
    backend: Backend,
    devices: burn::tensor::DeviceType,
    device_of_kind: fn(DeviceKind) -> Device,
) -> Result<Opened, String> {
    let missing = "no graphics adapter was found; install a Vulkan driver for your GPU \
                   (Debian's mesa-vulkan-drivers has a software one)";
    let found = quietly(|| Device::enumerate(devices).into_vec())?;
    let cpu = device_of_kind(DeviceKind::Cpu);
    let kinds = [DeviceKind::DiscreteGpu, DeviceKind::IntegratedGpu, DeviceKind::VirtualGpu];
    let known = kinds.into_iter().find_map(|kind| {
        let numbered = (0..).map(|number| device_of_kind(kind(number)));
        own(numbered.take_while(|device| found.contains(device)).collect())
    });
    let other = || found.iter().find(|device| **device != cpu).or(found.first()).cloned();
    let device = known.or_else(other).ok_or(missing)?;
    let software = device == cpu;
    // `identity` opens the device, so that driver errors appear here and not during a run.
    let name =
        quietly(|| device.identity())?.map_or_else(|| "unnamed adapter".into(), |identity| identity.name);
    let description = if software { format!("{name} (software, no GPU)") } else { name };
    Ok(Opened { backend, description, device, workers: Workers::TOGETHER, is_gpu: !software })
}

#[allow(dead_code)] // unused if all features are enabled
fn not_built(feature: &str) -> String {
    format!("this program was built without it; build with `cargo build --release --features {feature}`")
}

/// Calls `work` with standard error silenced and panics caught: drivers report errors by panicking.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn quietly<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let _quiet = crate::quiet_stderr::QuietStderr::begin();
    crate::panics::catch(work).map_err(|reason| format!("opening it failed: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_known_by_their_device_files() {
        let folder = std::env::temp_dir().join(format!("bilevel-device-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let with = |name: &str| {
            fs::write(folder.join(name), "").unwrap();
            let found = has_gpu_file(&folder);
            fs::remove_file(folder.join(name)).unwrap();
            found
        };
        for name in ["nvidia0", "renderD128", "dxg", "mali0"] {
            assert!(with(name), "{name}");
        }
        for name in ["card0", "null", "tty"] {
            assert!(!with(name), "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(!has_gpu_file(&folder), "a folder that is missing has none");
    }

    #[test]
    fn processes_of_a_machine_take_its_gpus_in_turn() {
        let gpu = |count, set: &[(&str, &str)]| {
            own_gpu(count, |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_string())
            })
        };
        assert_eq!(gpu(4, &[]), 0, "started alone");
        assert_eq!(gpu(4, &[("OMPI_COMM_WORLD_LOCAL_RANK", "3")]), 3);
        assert_eq!(gpu(4, &[("SLURM_LOCALID", "6")]), 2, "more processes than GPUs");
        assert_eq!(gpu(1, &[("MPI_LOCALRANKID", "2")]), 0, "the launcher shows each its own GPU only");
        // Slurm started mpirun, whose own number counts.
        assert_eq!(gpu(4, &[("SLURM_LOCALID", "0"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1")]), 1);
        assert_eq!(gpu(4, &[("SLURM_LOCALID", "?")]), 0);
    }
}
