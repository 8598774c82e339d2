//! The longest chain of steps that wait for each other: no number of cores makes a build shorter. Pure.

/// The steps of the longest chain in their order, and its length in seconds. `steps` are the inputs of each, all
/// before itself, and its time.
pub fn path(steps: &[(&[usize], f64)]) -> (Vec<usize>, f64) {
    let mut ends: Vec<(f64, Option<usize>)> = Vec::with_capacity(steps.len());
    for (index, (inputs, seconds)) in steps.iter().enumerate() {
        let known = inputs.iter().copied().filter(|&input| input < index);
        let before = known.max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
        ends.push((before.map_or(0.0, |before| ends[before].0) + seconds, before));
    }
    let Some(last) = (0..steps.len()).max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0).then(b.cmp(&a))) else {
        return (Vec::new(), 0.0);
    };
    let mut chain = Vec::new();
    let mut next = Some(last);
    while let Some(index) = next {
        // What takes no time keeps nobody waiting.
        if steps[index].1 > 0.0 {
            chain.push(index);
        }
        next = ends[index].1;
    }
    chain.reverse();
    (chain, ends[last].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_chain_is_found_across_branches() {
        let steps: [(&[usize], f64); 5] = [(&[], 0.0), (&[0], 2.0), (&[0], 1.0), (&[2], 3.0), (&[1, 3], 1.0)];
        assert_eq!(path(&steps), (vec![2, 3, 4], 5.0));
        assert_eq!(path(&[]), (Vec::new(), 0.0));
        assert_eq!(path(&[(&[], 0.0)]), (Vec::new(), 0.0));
    }
}
