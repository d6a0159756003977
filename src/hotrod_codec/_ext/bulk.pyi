# Types of bulk.pyx; stubtest compares the two. Documentation stands in the .pyx.
