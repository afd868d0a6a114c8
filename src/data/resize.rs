//! Resizing by exact area averaging: each new pixel is the mean of the area that it covers.
//!
//! This preserves the ink of thin strokes, which point sampling would lose.

/// Resizes a grey image from `[height, width]` to `[size, size]`, both in row-major order; width and height are scaled
/// independently.
pub fn resize(pixels: &[u8], width: usize, height: usize, size: usize) -> Vec<u8> {
    if (width, height) == (size, size) {
        return pixels.to_vec();
    }
    let columns = coverage(width, size);
    let rows = coverage(height, size);
    // Horizontally first, into columns, so that both passes read memory in order.
    let mut narrow = vec![0.0; size * height];
    for (y, row) in pixels.chunks_exact(width).enumerate() {
        for (x, patch) in columns.iter().enumerate() {
            narrow[x * height + y] = patch.mean(|i| f32::from(row[i]));
        }
    }
    let mut resized = vec![0; size * size];
    for (x, column) in narrow.chunks_exact(height).enumerate() {
        for (y, patch) in rows.iter().enumerate() {
            resized[y * size + x] = patch.mean(|i| column[i]).round() as u8;
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
        for (width, height, size) in [(105, 105, 28), (28, 28, 28), (7, 31, 28), (3, 200, 5), (1, 1, 4)] {
            assert_eq!(resize(&vec![200; width * height], width, height, size), vec![200; size * size]);
        }
    }

    #[test]
    fn the_mean_is_preserved() {
        let pixels: Vec<u8> = (0..105 * 90_usize).map(|i| (i * i % 251) as u8).collect();
        let mean = |pixels: &[u8]| pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / pixels.len() as f64;
        for size in [28, 64, 105, 150] {
            let resized = resize(&pixels, 105, 90, size);
            assert!((mean(&resized) - mean(&pixels)).abs() < 0.1, "at {size}");
        }
    }

    #[test]
    fn blocks_are_averaged_exactly() {
        let pixels = [0, 100, 8, 8, 200, 100, 8, 8];
        assert_eq!(resize(&pixels, 4, 2, 2), [50, 8, 150, 8]);
    }

    #[test]
    fn pixels_on_a_boundary_are_shared() {
        assert_eq!(resize(&[0, 90, 0].repeat(3), 3, 3, 2), [30, 30, 30, 30]);
    }
}
