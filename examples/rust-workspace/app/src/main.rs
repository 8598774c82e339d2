fn main() {
    println!("{}", greet::greeting("kiln"));
}
