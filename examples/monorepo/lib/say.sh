say() { echo "[$SERVICE] $*"; }
