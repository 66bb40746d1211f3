/* The AVX-512 kernel of src/wire/base64_vbmi.c on the model of its instructions. */
#define base64_vbmi base64_vbmi_on_model

#include "wire/base64_vbmi.c"
