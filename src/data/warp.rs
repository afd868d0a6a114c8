//! Images rotated, stretched and sheared slightly, by a linear map about their centre.
//!
//! With offsets from the centre in pixels, the pixel at u reads the image at (I + D)u, where D holds four small numbers. Between
//! pixels, values are interpolated linearly in both directions; what lies outside is paper.

/// The 2 × 2 matrix D by rows: how far down is read for each pixel down and right, then how far right. Zeros leave an image as it is.
pub type Warp = [f32; 4];

/// The image `[size, size, channels]` seen through I + `warp`, with `paper` around it.
pub fn warped(image: &[u8], size: usize, channels: usize, paper: u8, warp: Warp) -> Vec<u8> {
    let [down_by_down, down_by_right, right_by_down, right_by_right] = warp;
    let centre = (size as f32 - 1.0) / 2.0;
    let value = |row: isize, column: isize, channel: usize| {
        let inside = 0..size as isize;
        match inside.contains(&row) && inside.contains(&column) {
            true => f32::from(image[(row as usize * size + column as usize) * channels + channel]),
            false => f32::from(paper),
        }
    };
    let mut warped = Vec::with_capacity(image.len());
    for row in 0..size {
        for column in 0..size {
            let (down, right) = (row as f32 - centre, column as f32 - centre);
            let at_row = row as f32 + down_by_down * down + down_by_right * right;
            let at_column = column as f32 + right_by_down * down + right_by_right * right;
            let (first_row, first_column) = (at_row.floor(), at_column.floor());
            let (below, beside) = (at_row - first_row, at_column - first_column);
            let (top, left) = (first_row as isize, first_column as isize);
            for channel in 0..channels {
                let of_row =
                    |row| (1.0 - beside) * value(row, left, channel) + beside * value(row, left + 1, channel);
                let mixed = (1.0 - below) * of_row(top) + below * of_row(top + 1);
                warped.push(mixed.round() as u8);
            }
        }
    }
    warped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_without_a_warp() {
        let image: Vec<u8> = (0..75).collect();
        assert_eq!(warped(&image, 5, 3, 9, [0.0; 4]), image);
    }

    #[test]
    fn pixels_are_read_where_the_map_says() {
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        // Exact quarter turns and mirrors, far larger than any that is drawn.
        let quarter = warped(&image, 3, 1, 0, [-1.0, -1.0, 1.0, -1.0]);
        assert_eq!(quarter, [7, 4, 1, 8, 5, 2, 9, 6, 3], "(down, right) reads (−right, down)");
        assert_eq!(warped(&image, 3, 1, 0, [-2.0, 0.0, 0.0, 0.0]), [7, 8, 9, 4, 5, 6, 1, 2, 3]);
        // Sheared: each row below the middle reads one pixel further to the right.
        assert_eq!(warped(&image, 3, 1, 0, [0.0, 0.0, 1.0, 0.0]), [0, 1, 2, 4, 5, 6, 8, 9, 0]);
        // Twice as small, surrounded by paper.
        assert_eq!(warped(&image, 3, 1, 50, [1.0, 0.0, 0.0, 1.0]), [50, 50, 50, 50, 5, 50, 50, 50, 50]);
    }

    #[test]
    fn values_between_pixels_are_interpolated() {
        let image = [0, 100, 200, 40, 140, 240, 80, 180, 255];
        // Half as wide a view: columns −½, 0, ½ around the middle.
        let near = warped(&image, 3, 1, 0, [0.0, 0.0, 0.0, -0.5]);
        assert_eq!(near, [50, 100, 150, 90, 140, 190, 130, 180, 218]);
        let colours = [0, 255, 100, 155, 200, 55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let both = warped(&colours, 3, 2, 0, [0.0, 0.0, 0.0, -0.5]);
        assert_eq!(both[..6], [50, 205, 100, 155, 150, 105], "channels apart");
    }
}
