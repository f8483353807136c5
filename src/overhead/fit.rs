//! Weighted least squares, with errors that don't believe in the weights.
//!
//! The covariance of the coefficients is the sandwich estimator HC3 (MacKinnon and White, "Some heteroskedasticity-consistent
//! covariance matrix estimators with improved finite sample properties", Journal of Econometrics 29, 1985). It is
//! taken from how far the rows are from the fit, whatever their variances are, and a row that nearly
//! alone decides a coefficient makes it as uncertain as it is; Long and Ervin (The American Statistician 54, 2000) advise it
//! for small samples.

use nalgebra::{SMatrix, SVector};

/// Rows beyond the number of coefficients without which nothing can be said of errors.
const SPARE: usize = 3;
/// Columns whose normal matrix has a smaller determinant, when its diagonal is 1, are told apart by rounding errors at
/// best.
const SINGULAR: f64 = 1e-9;

/// One observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<const N: usize> {
    /// What it depends on.
    pub(super) x: [f64; N],
    /// What was observed.
    pub(super) y: f64,
    /// What it counts for: in proportion to the inverse of its variance, as far as that is known.
    pub(super) weight: f64,
}

/// `y` as the sum of coefficients times `x`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit<const N: usize> {
    pub(super) coefficients: [f64; N],
    covariance: SMatrix<f64, N, N>,
}

impl<const N: usize> Fit<N> {
    /// The fit, unless there are too few rows or they don't determine it.
    pub(super) fn of(rows: &[Row<N>]) -> Option<Self> {
        if rows.len() < N + SPARE {
            return None;
        }
        // Packets and seconds differ by orders of magnitude: each column is measured in its own norm.
        let squares = rows.iter().map(|row| SVector::from(row.x.map(|x| row.weight * x * x)));
        let squares: SVector<f64, N> = squares.sum();
        let norms = squares.map(f64::sqrt);
        if norms.iter().any(|norm| !norm.is_normal()) {
            return None;
        }
        let scaled: Vec<_> = rows
            .iter()
            .map(|row| (SVector::from(row.x).component_div(&norms), row.y, row.weight))
            .collect();
        let normal: SMatrix<f64, N, N> =
            scaled.iter().map(|(x, _, w)| x * x.transpose() * *w).sum();
        let right: SVector<f64, N> = scaled.iter().map(|(x, y, w)| x * (*y * *w)).sum();
        let decomposed = normal.cholesky()?;
        if decomposed.determinant() < SINGULAR {
            return None;
        }
        let inverse = decomposed.inverse();
        let coefficients = inverse * right;
        let mut meat = SMatrix::<f64, N, N>::zeros();
        for (x, y, weight) in &scaled {
            // Where this row has no company, the fit follows it wherever it goes.
            let company = 1.0 - weight * x.dot(&(inverse * x));
            if company < SINGULAR {
                return None;
            }
            let error = (y - x.dot(&coefficients)) / company;
            meat += x * x.transpose() * (weight * error).powi(2);
        }
        let back = SMatrix::from_diagonal(&norms.map(|norm| 1.0 / norm));
        Some(Self {
            coefficients: (back * coefficients).into(),
            covariance: back * (inverse * meat * inverse) * back,
        })
    }

    /// A weighted sum of the coefficients.
    pub(super) fn at(&self, weights: [f64; N]) -> f64 {
        self.coefficients
            .iter()
            .zip(weights)
            .map(|(coefficient, weight)| coefficient * weight)
            .sum()
    }

    /// The same fit with further coefficients that are known to be 0.
    pub(super) fn with_zeros<const M: usize>(&self) -> Fit<M> {
        let known = |row: usize| row < N;
        Fit {
            coefficients: std::array::from_fn(|row| {
                if known(row) { self.coefficients[row] } else { 0.0 }
            }),
            covariance: SMatrix::from_fn(|row, column| {
                if known(row) && known(column) { self.covariance[(row, column)] } else { 0.0 }
            }),
        }
    }

    /// The variance of a weighted sum of the coefficients.
    pub(super) fn variance(&self, weights: [f64; N]) -> f64 {
        let weights = SVector::from(weights);
        weights.dot(&(self.covariance * weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_found_with_its_textbook_error() {
        let rows = [1.0, 2.0, 3.0, 6.0].map(|y| Row { x: [1.0], y, weight: 1.0 });
        let fit = Fit::of(&rows).unwrap();
        assert!((fit.coefficients[0] - 3.0).abs() < 1e-12);
        // HC3 of a mean: the sum of squared deviations over (n - 1)^2.
        assert!((fit.variance([1.0]) - 14.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn columns_of_very_different_size_are_told_apart_and_the_same_twice_is_not() {
        let row =
            |a: f64, b: f64| Row { x: [a * 1e6, b], y: 3e-6 * a * 1e6 + 0.5 * b, weight: 1.0 };
        let fit =
            Fit::of(&[row(1.0, 1.0), row(2.0, 1.0), row(3.0, 1.0), row(4.0, 1.0), row(9.0, 1.0)]);
        let [a, b] = fit.unwrap().coefficients;
        assert!((a - 3e-6).abs() < 1e-15 && (b - 0.5).abs() < 1e-9, "{a} {b}");
        assert!(Fit::of(&[1.0, 2.0, 3.0, 4.0, 5.0].map(|a| row(a, a))).is_none());
        assert!(Fit::of(&[1.0, 2.0, 3.0, 4.0].map(|a| row(a, 1.0))).is_none(), "too few");
    }
}
