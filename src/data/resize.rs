//! Resizing by exact area averaging: each new pixel is the mean of the area that it covers.
//!
//! This preserves the ink of thin strokes, which point sampling would lose.

/// Resizes an image from `[height, width, channels]` to another height and width, in row-major order; sizes are given as
/// `[width, height]` and scaled independently.
pub fn resize(pixels: &[u8], channels: usize, from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    let ([width, height], [new_width, new_height]) = (from, to);
    let columns = coverage(width, new_width);
    let rows = coverage(height, new_height);
    let mut narrow = vec![0.0; new_width * height];
    let mut resized = vec![0; new_width * new_height * channels];
    for channel in 0..channels {
        // Horizontally first, into columns, so that both passes read memory in order.
        for (y, row) in pixels.chunks_exact(width * channels).enumerate() {
            for (x, patch) in columns.iter().enumerate() {
                narrow[x * height + y] = patch.mean(|i| f32::from(row[i * channels + channel]));
            }
        }
        for (x, column) in narrow.chunks_exact(height).enumerate() {
            for (y, patch) in rows.iter().enumerate() {
                let mean = patch.mean(|i| column[i]).round() as u8;
                resized[(y * new_width + x) * channels + channel] = mean;
            }
        }
    }
    resized
}

/// The old pixels that one new pixel covers, and the fraction of it that each makes up; the weights sum to 1.
struct Patch {
    first: usize,
    weights: Vec<f32>,
}

impl Patch {
    fn mean(&self, value: impl Fn(usize) -> f32) -> f32 {
        self.weights.iter().enumerate().map(|(i, weight)| weight * value(self.first + i)).sum()
    }
}

/// For each of `new` pixels in a row, which of the `old` pixels it covers.
///
/// In the unit of length used here a new pixel has length `old` and an old pixel length `new`, so that all boundaries are
/// whole numbers and all weights exact.
fn coverage(old: usize, new: usize) -> Vec<Patch> {
    (0..new)
        .map(|pixel| {
            let (start, end) = (pixel * old, (pixel + 1) * old);
            let covered = start / new..end.div_ceil(new);
            let overlap = |i: usize| ((i + 1) * new).min(end) - (i * new).max(start);
            Patch { first: covered.start, weights: covered.map(|i| overlap(i) as f32 / old as f32).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_images_stay_constant() {
        for (from, to) in [([105, 105], 28), ([28, 28], 28), ([7, 31], 28), ([3, 200], 5), ([1, 1], 4)] {
            assert_eq!(resize(&vec![200; from[0] * from[1]], 1, from, [to, to]), vec![200; to * to]);
        }
    }

    #[test]
    fn the_mean_is_preserved() {
        let pixels: Vec<u8> = (0..105 * 90_usize).map(|i| (i * i % 251) as u8).collect();
        let mean = |pixels: &[u8]| pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / pixels.len() as f64;
        for size in [28, 64, 105, 150] {
            let resized = resize(&pixels, 1, [105, 90], [size, size]);
            assert!((mean(&resized) - mean(&pixels)).abs() < 0.1, "at {size}");
        }
    }

    #[test]
    fn blocks_are_averaged_exactly() {
        let pixels = [0, 100, 8, 8, 200, 100, 8, 8];
        assert_eq!(resize(&pixels, 1, [4, 2], [2, 2]), [50, 8, 150, 8]);
        assert_eq!(resize(&pixels, 1, [4, 2], [2, 1]), [100, 8]);
    }

    #[test]
    fn pixels_on_a_boundary_are_shared() {
        assert_eq!(resize(&[0, 90, 0].repeat(3), 1, [3, 3], [2, 2]), [30, 30, 30, 30]);
    }

    #[test]
    fn each_channel_is_resized_as_if_it_were_alone() {
        let pixels: Vec<u8> = (0..13 * 9 * 3_usize).map(|i| (i * i % 251) as u8).collect();
        let all = resize(&pixels, 3, [13, 9], [5, 7]);
        for channel in 0..3 {
            let of = |pixels: &[u8]| pixels.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>();
            assert_eq!(resize(&of(&pixels), 1, [13, 9], [5, 7]), of(&all));
        }
    }
}
