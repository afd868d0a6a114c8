//! Numbers as bytes.

/// A floating-point number of a fixed size.
pub trait Number: Copy + std::ops::Add<Output = Self> {
    /// Its size in bytes.
    const SIZE: usize;

    /// Writes its bytes into `bytes`, of its size.
    fn write(self, bytes: &mut [u8]);

    /// The number with these bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($float:ty) => {
        impl Number for $float {
            const SIZE: usize = size_of::<Self>();

            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; Self::SIZE];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    };
}

number!(f32);
number!(f64);

/// The bytes of `numbers`.
pub fn encode<N: Number>(numbers: &[N]) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * N::SIZE];
    bytes.chunks_exact_mut(N::SIZE).zip(numbers).for_each(|(bytes, number)| number.write(bytes));
    bytes
}

/// The numbers with these `bytes`.
pub fn decode<N: Number>(bytes: &[u8]) -> Vec<N> {
    bytes.chunks_exact(N::SIZE).map(N::read).collect()
}

/// The bytes of `lists`, each with its length before it.
pub fn encode_lists(lists: &[Vec<f64>]) -> Vec<u8> {
    lists
        .iter()
        .flat_map(|list| [(list.len() as u64).to_le_bytes().to_vec(), encode(list)].concat())
        .collect()
}

/// The lists with these `bytes`.
pub fn decode_lists(mut bytes: &[u8]) -> Vec<Vec<f64>> {
    let mut lists = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (list, rest) = rest.split_at(u64::from_le_bytes(*length) as usize * f64::SIZE);
        lists.push(decode(list));
        bytes = rest;
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_keep_their_bits() {
        let numbers = [0.1, -0.0, f32::NAN, f32::INFINITY, 1e-42];
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decode(&encode(&numbers))), bits(&numbers));
        let lists = vec![vec![], vec![1.5, -2.0], vec![], vec![0.1]];
        assert_eq!(decode_lists(&encode_lists(&lists)), lists);
        assert!(decode_lists(&[]).is_empty());
    }
}
