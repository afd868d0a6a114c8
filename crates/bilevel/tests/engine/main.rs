//! Tests of the engine on small problems, without networks, images, files or a command line.

mod architecture;
mod curvature_probe;
mod dual;
mod enumerated;
mod gradients;
mod implicit_and_reptile;
mod imports;
mod instruction_sets;
mod kernels;
mod memory_plans;
mod outer_loop;
mod own_problem;
mod problems;
mod ranks;
mod threads;
mod unbiased;
mod variance;
