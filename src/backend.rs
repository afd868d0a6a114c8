//! Backends: which ones this program was built with, which devices this machine has for them, and
//! which one a run gets.

use crate::config::Backend;
use crate::hypergradient::Workers;
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;

/// A device, opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Which backend it belongs to; never [`Backend::Auto`].
    pub backend: Backend,
    /// The device as a person would call it.
    pub description: String,
    /// The device.
    pub device: Device,
    /// How a meta-batch is shared out on it.
    pub workers: Workers,
    /// Whether it is a GPU in hardware.
    pub is_gpu: bool,
}

impl Opened {
    /// Whether it computes in the host's memory.
    pub fn is_cpu(&self) -> bool {
        matches!(self.backend, Backend::Flex | Backend::Ndarray)
    }

    /// The same device, where it is a CPU with `threads` threads at work; `None` leaves it one for each
    /// core. A GPU is kept busy by one thread.
    ///
    /// This process's own pool of threads is sized alike, unless it was in use before.
    pub fn with_threads(self, threads: Option<usize>) -> Self {
        match threads.filter(|_| self.is_cpu()) {
            None => self,
            Some(threads) => {
                // Fails only where there is a pool already.
                let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
                cpu(self.backend, self.device, threads)
            }
        }
    }
}

/// A backend that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("backend `{backend}` is not available: {reason}; `metaburn backends` lists what is")]
pub struct Error {
    /// Its name.
    pub backend: Backend,
    /// Why.
    pub reason: String,
}

/// Every backend's name, in the order in which [`open`] would rather have them.
pub const ALL: [Backend; 5] =
    [Backend::Cuda, Backend::Vulkan, Backend::Wgpu, Backend::Flex, Backend::Ndarray];

/// Opens `backend`; `auto` takes the first GPU in hardware there is, else flex.
///
/// # Errors
/// If the backend was not built in or finds no device, with the reason.
pub fn open(backend: Backend) -> Result<Opened, Error> {
    let error = |reason| Error { backend, reason };
    match backend {
        Backend::Auto => {
            // One after the other: opening a card by two of its names at once helps nobody.
            let gpus = [Backend::Cuda, Backend::Vulkan, Backend::Wgpu].into_iter();
            let found = gpus.filter_map(|backend| open(backend).ok()).find(|opened| opened.is_gpu);
            found.map_or_else(|| open(Backend::Flex), Ok)
        }
        Backend::Flex => Ok(cpu(backend, Device::flex(), cores())),
        Backend::Ndarray => ndarray().map_err(error),
        Backend::Wgpu => wgpu().map_err(error),
        Backend::Vulkan => vulkan().map_err(error),
        Backend::Cuda => cuda().map_err(error),
    }
}

/// How many threads this machine runs at once.
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
    #[allow(deprecated)] // Burn prefers flex, and so do we; ndarray stays selectable.
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
    let missing = "no CUDA device answers; is NVIDIA's driver installed (`nvidia-smi`)?";
    let devices = quietly(|| Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec())?;
    let device = devices.into_iter().next().ok_or(missing)?;
    let description =
        quietly(|| device.identity())?.map_or_else(|| "CUDA device".into(), |identity| identity.name);
    Ok(Opened { backend: Backend::Cuda, description, device, workers: Workers::TOGETHER, is_gpu: true })
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Opened, String> {
    Err(not_built("cuda"))
}

/// The first adapter of a graphics API: discrete before integrated, software last.
#[cfg(feature = "wgpu")]
fn graphics(
    backend: Backend,
    devices: burn::tensor::DeviceType,
    named: fn(DeviceKind) -> Device,
) -> Result<Opened, String> {
    let missing = "no graphics adapter answers; install a Vulkan driver for your GPU \
                   (Debian's mesa-vulkan-drivers has a software one)";
    let found = quietly(|| Device::enumerate(devices).into_vec())?;
    // Drivers list their adapters in an order of their own.
    let cpu = named(DeviceKind::Cpu);
    let kinds = [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0)];
    let known = kinds.map(named).into_iter().find(|device| found.contains(device));
    let other = || found.iter().find(|device| **device != cpu).or(found.first()).cloned();
    let device = known.or_else(other).ok_or(missing)?;
    let software = device == cpu;
    // The first use opens the device; a driver that refuses shows here and not in a run's midst.
    let name =
        quietly(|| device.identity())?.map_or_else(|| "unnamed adapter".into(), |identity| identity.name);
    let description = if software { format!("{name} (software, no GPU)") } else { name };
    Ok(Opened { backend, description, device, workers: Workers::TOGETHER, is_gpu: !software })
}

#[allow(dead_code)] // unused where every feature is on
fn not_built(feature: &str) -> String {
    format!("this program was built without it; build with `cargo build --release --features {feature}`")
}

/// `work` on a driver, whose faults come as panics and whose talk is for its authors.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn quietly<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let _silence = crate::silence::Silence::begin();
    crate::caught::caught(work).map_err(|reason| format!("opening it failed: {reason}"))
}
