// What the compressor uses of LibTorch: tensors, autograd, thread and random state. torch/torch.h
// would bring modules, optimizers, data loaders and TorchScript, and with them half of the build
// time.
#pragma once
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>
