"""What the gates share: the tree, C text, the build, the tools."""
