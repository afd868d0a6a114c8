//! The connections of a grid as tables on a device.

use super::product::NONE;
use crate::kernel::grid::{Connection, Grid};
use burn::tensor::DType;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

/// The tables of a grid: for each target pixel and tap the source pixel, and for each source pixel and tap the target
/// pixel; [`NONE`] where there is none.
#[derive(Debug)]
pub struct Tables {
    device: CubeDevice,
    tables: [CubeTensor; 2],
}

impl Grid {
    /// Its tables on the device of `like`; made once.
    pub(super) fn tables(&self, like: &CubeTensor) -> [CubeTensor; 2] {
        let mut made = self.cube_tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(tables) = made.iter().find(|tables| tables.device == like.device) {
            return tables.tables.clone();
        }
        let tables = [self.forward(), self.backward()].map(|connections| {
            let values = table(connections, self.taps());
            let handle = like.client.create_from_slice(u32::as_bytes(&values));
            let shape = [values.len()];
            CubeTensor::new_contiguous(
                like.client.clone(),
                like.device.clone(),
                shape.into(),
                handle,
                DType::U32,
            )
        });
        made.push(Tables { device: like.device.clone(), tables: tables.clone() });
        tables
    }
}

/// `[pixels, taps]`
fn table(connections: &[Vec<Connection>], taps: usize) -> Vec<u32> {
    let mut values = vec![NONE; connections.len() * taps];
    for (row, own) in values.chunks_mut(taps).zip(connections) {
        for connection in own {
            row[connection.tap] = connection.pixel as u32;
        }
    }
    values
}
