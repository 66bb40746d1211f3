#include "wire/http1_priv.h"

#define T HTTP1_TOKEN
#define R HTTP1_TARGET
#define V HTTP1_VALUE
#define H HTTP1_HOST

#define VALUE8 V, V, V, V, V, V, V, V
#define VALUE64 VALUE8, VALUE8, VALUE8, VALUE8, VALUE8, VALUE8, VALUE8, VALUE8
/* Letters, digits and other bytes that may stand anywhere. */
#define A (T | R | V | H)
#define A8 A, A, A, A, A, A, A, A

/* clang-format off */
const uint8_t http1_classes[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0, /* V: HTAB */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* ' '   !     "      #      $  %  &  '  */
	V,       A,    R | V, T | V, A, A, A, A,
	/* (         )          *  +  ,          -  .  /     */
	R | V | H,   R | V | H, A, A, R | V,     A, A, R | V,
	A8, /* 0 to 7 */
	/* 8  9  :          ;          <      =          >      ?     */
	A,    A, R | V | H, R | V | H, R | V, R | V | H, R | V, R | V,
	R | V /* @ */, A, A, A, A, A, A, A,
	A8, A8,
	/* X  Y  Z  [          \      ]          ^          _ */
	A,    A, A, R | V | H, R | V, R | V | H, T | R | V, A,
	T | R | V /* ` */, A, A, A, A, A, A, A,
	A8, A8,
	/* x  y  z  {      |          }      ~  DEL */
	A,    A, A, R | V, T | R | V, R | V, A, 0,
	VALUE64, VALUE64,
};
/* clang-format on */
