//! Clipping by the norm, on the device.

use crate::params::Params;
use burn::tensor::Tensor;

/// Scales `gradient` (one task, squared norm `square` `[1]`) down to the norm `limit` if it is longer. The factor
/// stays on the device.
pub fn clipped(gradient: Params, square: Tensor<1>, limit: f64) -> Params {
    let scale = (square.sqrt().recip() * limit).clamp_max(1.0).reshape([1, 1, 1]);
    gradient.map(|leaf| leaf * scale.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn only_gradients_longer_than_the_limit_are_clipped() {
        let params = |values: &[f64]| Params::new(vec![tensor(values, [1, 1, 2]), tensor(&[0.0], [1, 1, 1])]);
        let clip = |values: &[f64], limit| {
            let (gradient, square) = (params(values), params(values).squared_norm());
            let clipped = clipped(gradient, square, limit);
            clipped.leaves()[0].clone().into_data().iter::<f64>().collect::<Vec<_>>()
        };
        assert_eq!(clip(&[3.0, 4.0], 10.0), [3.0, 4.0]);
        assert_eq!(clip(&[0.0, 0.0], 1.0), [0.0, 0.0]);
        let [x, y] = clip(&[3.0, 4.0], 1.0)[..] else { panic!("two values") };
        assert!((x - 0.6).abs() < 1e-6 && (y - 0.8).abs() < 1e-6);
        assert!(clip(&[f64::NAN, 0.0], 1.0).iter().all(|value| value.is_nan()));
    }
}
