#!/bin/sh
# Says what it would serve.
for file in "$1"/*; do echo "serving $file"; done
